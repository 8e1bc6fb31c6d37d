# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machine images of EKS nodes: which there are, and how a group's launch template gets another one.

families    the images that AWS publishes for EKS nodes, by their names and parameters    choice    decisions; pure
read        launch templates, images and parameters as AWS describes them                 work      all of it in order
"""
